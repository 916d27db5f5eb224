"""Runs of a comparison over time, made by a formula: no energy here was measured."""

import numpy as np
import pandas as pd

from joulelab.report.experiment import EnergyBasis, Experiment

# Name, year, published top-1, GFLOPs of an image, million parameters.
NETWORKS = (
    ("alexnet", 2012, 0.565, 1.43, 61.1),
    ("vgg11", 2014, 0.690, 15.2, 132.9),
    ("vgg16", 2014, 0.716, 30.9, 138.4),
    ("googlenet", 2014, 0.698, 3.0, 6.6),
    ("resnet18", 2015, 0.698, 3.63, 11.7),
    ("resnet50", 2015, 0.761, 8.18, 25.6),
    ("resnet152", 2015, 0.783, 23.0, 60.2),
    ("inception_v3", 2015, 0.773, 11.4, 23.8),
    ("squeezenet1_1", 2016, 0.582, 0.70, 1.2),
    ("densenet121", 2016, 0.744, 5.67, 8.0),
    ("densenet201", 2016, 0.769, 8.58, 20.0),
    ("resnext50_32x4d", 2016, 0.776, 8.46, 25.0),
    ("wide_resnet50_2", 2016, 0.785, 22.8, 68.9),
    ("mobilenet_v2", 2018, 0.719, 0.60, 3.5),
    ("shufflenet_v2_x0_5", 2018, 0.606, 0.08, 1.4),
    ("mnasnet1_0", 2018, 0.735, 0.63, 4.4),
    ("mobilenet_v3_large", 2019, 0.740, 0.43, 5.5),
    ("efficientnet_b0", 2019, 0.777, 0.77, 5.3),
    ("efficientnet_b4", 2019, 0.834, 8.79, 19.3),
    ("regnet_y_8gf", 2020, 0.800, 16.9, 39.4),
    ("vit_b_16", 2020, 0.811, 35.1, 86.6),
    ("vit_l_16", 2020, 0.797, 123.0, 304.3),
    ("swin_t", 2021, 0.815, 8.98, 28.3),
    ("swin_b", 2021, 0.836, 30.9, 87.8),
    ("efficientnet_v2_s", 2021, 0.842, 16.7, 21.5),
    ("convnext_tiny", 2022, 0.825, 8.91, 28.6),
    ("convnext_base", 2022, 0.841, 30.7, 88.6),
    ("maxvit_t", 2022, 0.837, 11.1, 30.9),
)
SIZES = (1, 8, 32)
SAVED = {1: 1.0, 8: 0.7, 32: 0.6}


def timeline_runs(networks=NETWORKS, sizes=SIZES, repetitions=3, scatter=0.02, seed=0):
    """Joules an image are 0.4 GFLOPs^0.7, less with larger batches, and scatter by some percent."""
    rng = np.random.default_rng(seed)
    rows = []
    for name, year, top1, gflops, millions in networks:
        for size in sizes:
            for repetition in range(repetitions):
                saved = SAVED[size] if gflops > 1 else SAVED[size] ** 2
                images = 16 * size
                joules = 0.4 * gflops**0.7 * saved * np.exp(rng.normal(0, scatter)) * images
                rows.append(
                    {
                        "model": name,
                        "batch_size": size,
                        "configuration": f"model={name}, batch_size={size}",
                        "repetition": repetition,
                        "images": images,
                        "energy_net_j": joules,
                        "energy_gross_j": 1.2 * joules,
                        "duration_s": joules / 20,
                        "year": year,
                        "source": f"somebody, arXiv:{year}",
                        "published_top1": top1,
                        "weights": "random",
                        "flops_per_image": 1e9 * gflops,
                        "parameters": 1e6 * millions,
                    }
                )
    return pd.DataFrame(rows)


def timeline_experiment(runs, column="energy_net_j"):
    remarks = () if column else ("No energy is known: no meter gave a value.",)
    status = "estimated" if column else "missing"
    return Experiment(
        name="timeline",
        kind="timeline",
        protocol="",
        factors=("model", "batch_size"),
        runs=runs,
        planned=len(runs),
        failed=0,
        score="mean",
        energy=EnergyBasis(column, status, remarks),
    )
