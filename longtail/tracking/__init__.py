"""What MLflow is told: runs, their nesting, their inputs and models. The only package that imports mlflow."""
