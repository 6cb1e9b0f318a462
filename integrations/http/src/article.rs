//! What is served: articles of very different length.

use serde::Serialize;

/// How many there are.
pub const ARTICLES: usize = 500;

/// One response body.
#[derive(Serialize)]
pub struct Article {
    id: usize,
    title: &'static str,
    comments: &'static [Comment],
}

#[derive(Clone, Copy, Serialize)]
struct Comment {
    author: &'static str,
    votes: u32,
    text: &'static str,
}

const COMMENT: Comment =
    Comment { author: "anna", votes: 42, text: "\"I do not agree\", and here is why, in not too many words." };
static COMMENTS: [Comment; 800] = [COMMENT; 800];

impl Article {
    /// Most bodies have about a kilobyte, one in a hundred 80.
    #[must_use]
    pub fn new(id: usize) -> Article {
        let comments = if id % 100 == 99 { COMMENTS.len() } else { 3 + id * 31 % 17 };
        Article { id, title: "A title like any other", comments: &COMMENTS[..comments] }
    }
}
