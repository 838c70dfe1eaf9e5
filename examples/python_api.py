"""msakit from Python, in cells for a notebook: python examples/python_api.py [STORE [OUTPUT [BACKBONE]]]."""

# %%
import sys

import msakit

given = dict(enumerate(sys.argv[1:]))
store = given.get(0, "demo")
output = given.get(1, "runs/python")
backbone = given.get(2, "smollm2-135m")

# %% Build: exact parameter counts, nothing loaded
pipeline = msakit.build(
    dataset="demo",
    encoders="bilstm",
    fuser="tgm",
    injector="pseudo6",
    backbone=backbone,
    store=store,
    settings={"prompt.layout": "late", "training.epochs": 2},
)
print(pipeline)
for part in pipeline.sizes.parts:
    print(f"  {part.part:16} {part.component:24} {part.trainable:>10,}")

# %% Train: the best checkpoint is evaluated on the validation and test splits
run = msakit.train(pipeline, store=store, output=output)
print(f"test MAE {run.metrics['test']['mae']:.3f}, accuracy {run.metrics['test']['acc2_has0']:.3f}")

# %% Every prediction: a DataFrame where pandas is installed, else a list of rows
predictions = run.predictions("test")
print(predictions[:3])

# %% Later, from the run directory alone
run = msakit.load(output)
print(run)
answer = run.predict(text="what a wonderful film")
print(answer.prediction, answer.likeliest)

# %% The feature store
print(msakit.open_store(store).datasets())
