//! The berth binary: verbs, the development cluster and both daemons.
