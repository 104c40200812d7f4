"""What is learnt and how: reward, length, learning rate, algorithm, stability, and TRL's trainers with what we add."""
