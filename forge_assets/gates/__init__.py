"""Great Expectations suites, one a stage, and the factory that makes blocking, partitioned checks of them."""
