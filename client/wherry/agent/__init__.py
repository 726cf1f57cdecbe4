"""The host agent: one background process per running machine.

serve     the process: dial, serve, dial again, end with the VM
bridge    one local connection <-> one channel, without a thread of its own
forwards  published ports on 127.0.0.1      watch   the engine's events, which open and close them
pulse     the guest's clock, and the proof that the guest still answers
events    events.jsonl                      control  how `wherry machine` speaks to the process
launch    starting and ending the process   bringup  `machine start`, stage by stage
"""
