//! What a point costs on its way from the bytes of a client into a batch.

fn main() {}
