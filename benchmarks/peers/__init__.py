"""The programs that are measured: ours, and what people use today; one module for each family."""
