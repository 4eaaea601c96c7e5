//! A job may outlive whoever published it.

struct Line<'a>(&'a str);

impl<'a> ringmill::Payload for Line<'a> {}

fn main() {}
