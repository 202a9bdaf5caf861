"""Picture files, decoded in the graph, so that a served model reads all that people have.

TensorFlow's own operations decode the pixels. What they leave out is here: which way up, what is
transparent, how much memory it will take, and words for people.
"""
