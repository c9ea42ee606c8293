"""What a dataset costs: amounts of work by measured rates, money by prices that are given."""
