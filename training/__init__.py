"""Train the embedded model: assets, scenes, autoencoder, denoiser, distillation, evaluation."""
