"""The outside world: Telegram over requests, models over onnxruntime, secrets over Parameters."""
