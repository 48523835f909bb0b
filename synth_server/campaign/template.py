"""A campaign.toml to begin with, as `synth-server campaign --template` prints it."""

TEMPLATE = """\
# campaign.toml
name = "optimizers-and-noise"

[shared]                # of all cells: the options of synth-server dry-run
protocol = "evolve"
subject = "gabor_energy"
generator = "pixels"
sites = 1
generations = 15
population = 20

[shared.changes]        # settings of the protocol, as dry-run --set
test_repetitions = 0

[grid]                  # every combination is a cell, an ordinary session: here 3 × 2 × 3 × 2 = 36
optimizer = ["sphere_cma", "xdream", "random_search"]
noise = ["none", "poisson"]
"neurons.subject.options.seed" = [0, 1, 2]     # other neurons, as dry-run --neurons
seed = [0, 1]

# Single cells stand beside the grid, or in its place:
# [[cells]]
# optimizer = "poncelab"
# seed = 0

[compare]               # each optimizer minus the baseline, in pairs that differ in nothing else
setting = "optimizer"
baseline = "random_search"
measure = "true_chosen"
units = ["neurons.subject.options.seed"]       # what is resampled with all its runs
"""
