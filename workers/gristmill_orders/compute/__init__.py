"""The order service's compute kernels: pure functions, the same answer in every process."""
