"""Studies over worker processes, a SLURM cluster or Ray.

::

    runner    store, plan, pool ── assignments (JSON) ──►  worker    meters, workload, lock
              the only writer   ◄── what is entered (JSON) ──        one for each device

=========  ==============================================================
module     content
=========  ==============================================================
relay      a worker's store: passes on what is entered, line by line
worker     the process that works
pool       the runner's side: which group goes where, what became of it
engine     the interface of engines, and their names
local      worker processes on this machine
=========  ==============================================================
"""
