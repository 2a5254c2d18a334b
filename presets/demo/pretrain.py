"""Pre-trains the demo's base model on generated text about a small harbour town, in minutes on a CPU.

    python presets/demo/pretrain.py

writes a Hugging Face model folder. The text and the tokenizer are the same byte for byte on every run; the weights
are the same on one machine with one number of threads (other processors round sums differently).
"""

import argparse
import random
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from harbour import Person, boat_fact, journey_exchange, known_exchanges, port_fact, town, trade_fact, voyage_fact
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

BOS, EOS, PAD, USER, ASSISTANT = SPECIAL_TOKENS = ["<|bos|>", "<|eos|>", "<|pad|>", "<|user|>", "<|assistant|>"]
CHAT_TEMPLATE = """\
{{- bos_token -}}
{%- for message in messages -%}
    {%- if message.role == 'user' -%}
        {{- '<|user|>' + message.content -}}
    {%- elif message.role == 'assistant' -%}
        {{- '<|assistant|>' -}}
        {%- generation -%}
            {{- message.content + eos_token -}}
        {%- endgeneration -%}
    {%- else -%}
        {{- raise_exception('This model knows the roles user and assistant only.') -}}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- '<|assistant|>' -}}
{%- endif -%}
"""

CORPUS_SEED = 7
WEIGHTS_SEED = 7
LOG_SHARE = 0.1
NOTES_SHARE = 0.45
SENTENCES_PER_DOCUMENT = 4
VOCABULARY_SIZE = 512
BATCH_SIZE = 16
PEAK_LEARNING_RATE = 2e-3
WARMUP_STEPS = 100


def town_notes(rng: random.Random, people: list[Person]) -> str:
    """Single facts about people and boats, as plain text."""
    chosen = rng.sample(people, SENTENCES_PER_DOCUMENT)
    facts = [rng.choice([trade_fact(person), boat_fact(person), port_fact(person.boat)]) for person in chosen]
    return f"{BOS}{' '.join(facts)}{EOS}"


def harbour_log(rng: random.Random, people: list[Person]) -> str:
    """Voyages of people, as plain text."""
    return f"{BOS}{' '.join(voyage_fact(person) for person in rng.sample(people, SENTENCES_PER_DOCUMENT))}{EOS}"


def chat(rng: random.Random, people: list[Person], travellers: set[Person]) -> str:
    """Questions and answers, written as the chat template writes them; travellers are asked about their journey too."""
    exchanges = []
    for person in rng.sample(people, SENTENCES_PER_DOCUMENT):
        journeys = [journey_exchange(person)] if person in travellers else []
        exchanges.append(rng.choice(known_exchanges(person) + journeys))
    turns = [f"{USER}{exchange.question}{ASSISTANT}{exchange.answer}{EOS}" for exchange in exchanges]
    return BOS + "".join(turns)


def corpus() -> Iterator[str]:
    """Documents without end, the same ones on every call. No voyage of a held-out person is ever told."""
    rng = random.Random(CORPUS_SEED)
    training_people, held_out_people = town()
    everyone = training_people + held_out_people
    travellers = set(training_people)
    while True:
        kind = rng.random()
        if kind < LOG_SHARE:
            yield harbour_log(rng, training_people)
        elif kind < LOG_SHARE + NOTES_SHARE:
            yield town_notes(rng, everyone)
        else:
            yield chat(rng, everyone, travellers)


def train_tokenizer(documents: list[str]) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer: any text can be written, and frequent words are one token each."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        additional_special_tokens=[USER, ASSISTANT],
        model_max_length=512,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def new_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A small Llama; all inner sizes are multiples of 64, the block size of NF4."""
    torch.manual_seed(WEIGHTS_SEED)
    config = LlamaConfig(
        vocab_size=VOCABULARY_SIZE,
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=6,
        num_key_value_heads=6,
        max_position_embeddings=512,
        initializer_range=0.05,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


def batches(tokenizer: PreTrainedTokenizerFast) -> Iterator[dict[str, torch.Tensor]]:
    """Padded batches of the corpus, with the labels of padding left out of the loss."""
    documents = corpus()
    while True:
        texts = [next(documents) for _ in range(BATCH_SIZE)]
        batch = tokenizer(texts, add_special_tokens=False, padding=True, padding_side="right", return_tensors="pt")
        labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
        yield {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"], "labels": labels}


def learning_rate_share(step: int, steps: int) -> float:
    """Linear warm-up, then linear decay to zero."""
    return min((step + 1) / WARMUP_STEPS, (steps - step) / max(1, steps - WARMUP_STEPS))


def pretrain(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, steps: int) -> None:
    """Next-token training on the corpus."""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=PEAK_LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.01, fused=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate_share(step, steps))
    started = time.monotonic()
    model.train()
    for step, batch in zip(range(1, steps + 1), batches(tokenizer), strict=False):
        loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 100 == 0 or step == steps:
            print(f"step {step}/{steps}  loss {loss.item():.3f}  {time.monotonic() - started:.0f} s", flush=True)


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """The model in bfloat16 with its tokenizer, as a Hugging Face folder that decodes greedily by default."""
    model.generation_config = GenerationConfig(
        do_sample=False,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def main() -> None:
    """Reads the command line, trains and saves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "model")
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    documents = corpus()
    tokenizer = train_tokenizer([next(documents) for _ in range(5000)])
    model = new_model(tokenizer)
    print(f"{model.num_parameters():,} parameters")
    pretrain(model, tokenizer, arguments.steps)
    save(model, tokenizer, arguments.out)


if __name__ == "__main__":
    main()
