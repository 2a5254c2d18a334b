#!/bin/bash
# Two GPUs.
export NCCL_P2P_DISABLE=1
MODEL=${MODEL:-Qwen/Qwen3-8B}
ACCUMULATION=4

EXTRA=(--bf16 True --optim adamw_torch)
CUDA_VISIBLE_DEVICES=0,1 accelerate launch \
    --config_file accelerate_fsdp2.yaml --num-processes 2 \
    scripts/sft.py \
    --model_name_or_path "$MODEL" \
    --use_peft --lora_r 16 \
    --per_device_train_batch_size=2 \
    --gradient_accumulation_steps $ACCUMULATION \
    --gradient_checkpointing --gradient_checkpointing_kwargs '{"use_reentrant": true}' \
    --learning_rate $RATE \
    "${EXTRA[@]}" 2>&1 | tee log.txt
