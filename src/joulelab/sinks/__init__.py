"""Joules in the tools that people look at: what is measured, sent while it is measured.

::

    Measuring, Follower, watch ── Feed ──┬─ Outlet ─ Sink      a queue and a thread for each sink:
                                         └─ Outlet ─ Sink      none waits for another

============  ================================================================================
name          where it goes
============  ================================================================================
csv, jsonl    a file, a row each: ``run.csv``, ``run.jsonl``
prometheus    a page for Prometheus to read: ``prometheus:127.0.0.1:9400``
otlp          an OpenTelemetry collector: ``otlp:http://127.0.0.1:4318``
mlflow        a run of MLflow: ``mlflow:http://127.0.0.1:5000``
tensorboard   an event file: ``tensorboard:DIR``
wandb         an offline run of Weights & Biases: ``wandb:DIR``
============  ================================================================================

A sink of another package, or of a user, is a subclass of `joulelab.sinks.sink.Sink`.
"""
