#!/usr/bin/env bash
# Every run behind results/cifar100_lt.csv. Days on two cores; given again, it goes on where it was.
#   results/cifar100_lt.sh PATH_OF_CIFAR100 [LONGTAIL]
set -euo pipefail
data=$1
longtail=${2:-.venv/bin/longtail}

# A run of one backbone with every retraining method; the curvature, which is no part of the table, as cheap as can be.
run() {
  "$longtail" run --preset "$1" --data "$data" --set seed="$2" "${@:3}" \
    --set "retraining.methods=[baseline,crt,modals,tau_norm,logit_adjustment,tailcalib,tailcalibx]" \
    --set hessian.probes=2 --set hessian.lanczos_steps=2
}

for seed in 1 2 3; do
  run cifar100-lt,cosine-ce "$seed"
done
for seed in 1 2 3; do
  run cifar100-lt,ce "$seed"
  # The teacher is the CosineCE network of another seed, 1 or 2, on the same images.
  run cifar100-lt,cbd "$seed" --set backbone.distillation.teacher_seed=$((seed == 1 ? 2 : 1))
  run cifar100-lt,balanced-softmax "$seed"
done
for factor in 50 10; do
  run cifar100-lt,cosine-ce 1 --set data.imbalance_factor="$factor"
done
run cifar100-lt-paper,cosine-ce 1
run cifar100-lt-strong 1

"$longtail" results collect
make results
