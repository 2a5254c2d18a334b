"""Losses that are no number, or stay zero, as programs print them."""

from __future__ import annotations

import pytest
from support.short_logs import STEPS, diagnosed

NOT_A_NUMBER = {
    "transformers 4": "{'loss': nan, 'learning_rate': 2e-05, 'epoch': 0.01}",
    "transformers 5": "{'loss': 'nan', 'grad_norm': 'nan', 'learning_rate': '2e-05', 'epoch': '0.01'}",
    "filtered by transformers": "{'loss': 0.0, 'grad_norm': nan, 'learning_rate': 2e-05, 'epoch': 0.01}",
    "LLaMA-Factory": '{"current_steps": 10, "total_steps": 100, "loss": NaN, "lr": 1e-4, "epoch": 0.1}',
    "Megatron": " iteration 20/ 500 | consumed samples: 320 | lm loss: NAN | loss scale: 65536.0 | grad norm: nan |",
    "torchtune": "1|6|Loss: nan:   6%|6 | 6/100 [00:12<03:00]",
    "Lightning": "Epoch 0:  20%|█ | 20/100 [00:20<01:30, 1.00it/s, v_num=0, train_loss=nan.0]",
    "sd-scripts": "steps:   1%| | 10/1600 [00:15<40:00,  1.51s/it, avr_loss=nan]",
    "MLX": "Iter 10: Train loss nan, Learning Rate 1.987e-06, It/sec 0.062, Tokens/sec 209.019",
    "llama-recipes": "Training Epoch: 1/3, step 99/100 completed (loss: nan):   0%|  | 1/100",
    "examples of torch": "Train Epoch: 1 [640/60000 (1%)]\tLoss: nan",
    "pipes": "step 20 | loss nan | lr 1e-4",
    "a tensor": "Epoch: 1 | Step: 10 | train_loss: tensor(nan, device='cuda:0')",
}
ZERO = {
    "transformers": "{'loss': 0.0, 'grad_norm': 0.0, 'learning_rate': 0.0002, 'epoch': 0.1}",
    "JSON lines": '{"step": 10, "loss": 0.0, "learning_rate": 0.0001}',
}
TABLES = {
    "a notebook": "Step\tTraining Loss\tValidation Loss\n50\t1.2034\t1.1821\n100\tnan\tnan\n150\tnan\tnan\n",
    "a notebook, of zeros": "Step\tTraining Loss\n10\t0.000000\n20\t0.000000\n30\t0.000000\n",
    "rich": "┃ Step ┃ Loss ┃ LR ┃\n│ 10 │ 2.031 │ 1e-4 │\n│ 20 │ nan │ 1e-4 │\n",
}
GOES_WELL = {
    "a loss that recovers": "{'loss': nan, 'learning_rate': 2e-05}\n" + STEPS,
    "a table": "Step\tTraining Loss\n10\t1.2034\n20\t0.9034\n",
    "a policy's loss": "{'loss': 0.0, 'grad_norm': 0.0, 'reward': 0.25, 'reward_std': 0.0, 'kl': 0.0}\n" * 5,
    "evaluation": STEPS + "{'eval_loss': nan, 'eval_runtime': 1.0}\n",
    "a resumed run that was done": "{'train_runtime': 0.01, 'train_loss': 0.0, 'epoch': 3.0}\n",
}


@pytest.mark.parametrize("line", NOT_A_NUMBER.values(), ids=NOT_A_NUMBER)
def test_a_loss_that_is_no_number(line: str) -> None:
    found = diagnosed(f"{STEPS}{line}\n{line}\n")
    assert (found.cause, found.phase) == ("loss_nan_or_zero", "forward")
    assert found.evidence[0].line == STEPS.count("\n") + 1


@pytest.mark.parametrize("line", ZERO.values(), ids=ZERO)
def test_a_loss_of_zero_counts_when_it_stays(line: str) -> None:
    assert diagnosed(STEPS + f"{line}\n").cause == "none"
    assert diagnosed(STEPS + f"{line}\n" * 3).cause == "loss_nan_or_zero"


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_losses_in_a_table(table: str) -> None:
    assert diagnosed(table).cause == "loss_nan_or_zero"


@pytest.mark.parametrize("log", GOES_WELL.values(), ids=GOES_WELL)
def test_losses_that_are_as_they_should_be(log: str) -> None:
    assert diagnosed(log).cause == "none"
