"""From a model directory to a stepper that runs and was measured."""
