"""What agents remember, over any store: core memory, conversations, recall, archival memory.

`core`: the blocks that are always in the model's sight, with their history. `conversation`: the
log of all messages, and the window of those that the model sees. `recall`: searching what was
said. `archival`: passages, kept elsewhere and searched by meaning. `agents`: which there are.
Beside them `steps_log`, `generation_cache` and `system_state`.
"""
