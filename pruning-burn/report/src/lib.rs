//! Shows what a pruning did on one HTML page that needs nothing else.
