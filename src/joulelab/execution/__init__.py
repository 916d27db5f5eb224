"""Studies over worker processes, a SLURM cluster or Ray.

::

    runner    store, plan, pool ── assignments (JSON) ──►  worker    meters, workload, lock
              the only writer   ◄── what is entered (JSON) ──        one for each device

===========  ============================================================
module       content
===========  ============================================================
relay        a worker's store: passes on what is entered, line by line
worker       the process that works
pool         the runner's side: which group goes where, what became of it
member       a worker of the pool: what it does, with whom it may work
waiting      the groups that are not given out, and how long they take
node_time    what workers of one node do beside runs, counted once
connections  how lines travel: pipes, or files in a shared folder
interrupts   Ctrl-C between two lines, not within one
engine       the interface of engines, and their names
local        worker processes on this machine
slurm        jobs of a SLURM cluster
ray          actors of Ray core
===========  ============================================================
"""
