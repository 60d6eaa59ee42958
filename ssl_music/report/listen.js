"use strict";
(() => {
  // a line that runs over the picture while its sound plays; a click in the picture goes there
  const key = getComputedStyle(document.querySelector(".key"));
  const left = Number(key.getPropertyValue("--left")), right = Number(key.getPropertyValue("--right"));
  for (const view of document.querySelectorAll(".view")) {
    const sound = view.querySelector("audio"), picture = view.querySelector(".picture");
    const line = document.createElement("i");
    line.className = "playhead";
    line.hidden = true;
    picture.append(line);
    picture.classList.add("playable");
    const move = () => {
      const share = sound.currentTime / sound.duration || 0;
      line.style.left = 100 * (left + share * (right - left)) + "%";
      line.hidden = !sound.currentTime;
      if (!sound.paused) requestAnimationFrame(move);
    };
    for (const event of ["play", "pause", "seeking", "seeked"]) sound.addEventListener(event, move);
    picture.addEventListener("click", (event) => {
      const box = picture.getBoundingClientRect();
      const share = ((event.clientX - box.left) / box.width - left) / (right - left);
      if (sound.duration) sound.currentTime = Math.min(Math.max(share, 0), 1) * sound.duration;
      sound.play();
    });
  }
})();
