"""What methods are put together from.

ranks        the whole batch on every process, with the gradient of one process
chunks       gradient caching: the embeddings of a large batch at the memory of a chunk
heads        projectors and predictors
momentum     a second network that follows the first
segments     a long clip as a sequence, for encoders that give one vector per clip
workers, worker_targets    what PASE asks of an embedding, and the answers
tagging      what learns tags: which tags, who has them, their head and losses
pairs        which rows of a batch are alike by their tags
groups       artists that sound alike
factors      item factors, from a table or from listening counts
targets      a run keeps the targets that it began with
pseudo       a teacher's labels, kept on disk under its digest
collapse     watches a training, whatever the method, for embeddings that have become all the same
"""
