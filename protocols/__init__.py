"""The agreement: the words, types and rules that the server and the rig share.

Needs numpy and pydantic only (pyzmq in `protocols.wire`), never torch or psychopy, so that a rig PC
and a GPU server can both import all of it.
"""
