"""`onenex benchmark ablation` and `steps`: what each part of the unified model is worth, and what its steps buy."""
