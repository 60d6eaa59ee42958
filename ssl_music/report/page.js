"use strict";
(() => {
  // one player at a time
  document.addEventListener("play", (event) => {
    for (const other of document.querySelectorAll("audio")) if (other !== event.target) other.pause();
  }, true);

  // paper cannot be opened: everything is, but what is marked as long
  const closed = [];
  addEventListener("beforeprint", () => {
    for (const part of document.querySelectorAll("details:not([open]):not(.long)")) {
      part.open = true;
      closed.push(part);
    }
  });
  addEventListener("afterprint", () => { for (const part of closed.splice(0)) part.open = false; });

  const map = document.querySelector(".map");
  if (!map) return;
  const columns = JSON.parse(document.getElementById("map-data").textContent);
  const points = [...document.getElementById("points").children];
  const tabs = [...map.querySelectorAll(".tabs button")];
  const legends = [...map.querySelectorAll(".legend")];
  const OTHER = -1, UNLABELLED = -2, HUES = 6;
  let column = 0, picked = columns.length ? columns[0].first : null;

  // a column of one tag a song shows every class, or the one that is pointed at; the other kind one tag at a time
  const draw = (chosen) => {
    const { multi, classes } = columns[column];
    points.forEach((point, number) => {
      const own = classes[number];
      let shown = own[0];
      if (multi && shown >= 0) shown = own.includes(chosen) ? 0 : OTHER;
      const faint = !multi && chosen !== null && !own.includes(chosen);
      const name = shown === OTHER ? "other" : shown === UNLABELLED ? "none" : "k" + shown;
      point.setAttribute("class", faint ? "faint" : name);
      point.setAttribute("href", "#m" + Math.floor(Math.max(shown, 0) / HUES));
    });
  };
  const press = () => {
    for (const button of legends[column].querySelectorAll("button"))
      button.setAttribute("aria-pressed", String(Number(button.dataset.class) === picked));
    draw(picked);
  };
  tabs.forEach((tab, number) => tab.addEventListener("click", () => {
    column = number;
    picked = columns[number].first;
    tabs.forEach((other) => other.setAttribute("aria-pressed", String(other === tab)));
    legends.forEach((legend, index) => { legend.hidden = index !== number; });
    press();
  }));
  map.querySelector(".tabs").hidden = tabs.length < 2;
  for (const button of map.querySelectorAll(".legend button")) {
    const own = Number(button.dataset.class);
    button.addEventListener("pointerenter", () => draw(own));
    button.addEventListener("pointerleave", () => draw(picked));
    button.addEventListener("click", () => {
      picked = picked === own ? columns[column].first : own;
      press();
    });
  }

  // the titles as a tip that comes at once
  const tip = document.createElement("div");
  tip.id = "tip";
  tip.hidden = true;
  document.body.append(tip);
  const names = new Map(points.map((point) => {
    const title = point.firstElementChild;
    title.remove();
    return [point, title.textContent];
  }));
  const show = (event) => {
    const point = event.target.closest("#points use");
    tip.hidden = !point;
    if (!point) return;
    tip.textContent = names.get(point);
    const left = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8);
    const above = event.clientY - tip.offsetHeight - 14;
    tip.style.left = Math.max(left, 8) + "px";
    tip.style.top = (above < 8 ? event.clientY + 18 : above) + "px";
  };
  map.addEventListener("pointermove", show);
  map.addEventListener("pointerdown", show);
  map.addEventListener("pointerleave", () => { tip.hidden = true; });
})();
