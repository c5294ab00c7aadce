"""Toxiproxy: faults of single TCP streams. See docs/toxics.md.

kinds.py    the toxics, with units in their names
client.py   the wrapper over toxiproxy-python
server.py   a server of our own with Toxiproxy's HTTP API (http), its proxies (proxying) and their chains (chain)
real.py     the server written by Toxiproxy's authors: found, or built from its Go module
running.py  start either as a process
links.py    links as TCP streams, where packets cannot be had; streamnet.py: a deployment's network made of them
"""
