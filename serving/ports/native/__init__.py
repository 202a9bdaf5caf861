"""The native front end's side in Python: whole requests come from a program, answers go back.

`dlstack-frontend` (Go, `serving/frontend`) is a child of the server. It owns the ports: TLS,
HTTP/1.1, gRPC over HTTP/2, health, reflection, the token, limits of connections and bodies.
Python is told of whole requests only, and all meaning is here. There is no event loop:

- A thread reads what has arrived, and hands all of it on before it reads again: what one read has
  brought can run as one batch. Large requests come over a socket of their own, with a thread of its
  own, so that small ones need not wait behind them.
- A batch's thread writes the answers of all its requests at once.
- What isn't batched, or long, is done by a few worker threads.
- Rows of numbers in JSON that look like earlier ones come as numbers (`forms`).

The two sides are connected by two Unix socket pairs, for small and for large frames. `frames` says
how a frame is made, and what the kinds mean. The program says its protocol's version first; Python
then sends one frame in JSON with all that the ports shall be (`settings`). When either side's
sockets close, the other one ends.
"""
