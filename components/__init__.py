"""Thin Kubeflow components: one folder a step, each a signature over a function of `longtail.steps`."""
