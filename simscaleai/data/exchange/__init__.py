"""What all formats share in the exchange: our own record beside theirs, and reading data of other projects."""
