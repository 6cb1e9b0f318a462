//! What is served: articles of very different length.

use std::iter;

use serde::{Serialize, Serializer};

/// How many there are.
pub const ARTICLES: usize = 500;

/// An article has no more comments; its body is then some 40 MB.
pub const COMMENTS_MAX: usize = 400_000;

/// One response body.
#[derive(Serialize)]
pub struct Article {
    id: usize,
    title: &'static str,
    comments: Comments,
}

/// So many comments, which are made while they are serialized.
struct Comments(usize);

#[derive(Clone, Copy, Serialize)]
struct Comment {
    author: &'static str,
    votes: u32,
    text: &'static str,
}

const COMMENT: Comment =
    Comment { author: "anna", votes: 42, text: "\"I do not agree\", and here is why, in not too many words." };

impl Article {
    /// Most bodies have about a kilobyte, one in a hundred 80.
    #[must_use]
    pub fn new(id: usize) -> Article {
        Article::with_comments(id, if id % 100 == 99 { 800 } else { 3 + id * 31 % 17 })
    }

    /// A body of about 100 bytes a comment.
    #[must_use]
    pub fn with_comments(id: usize, comments: usize) -> Article {
        Article { id, title: "A title like any other", comments: Comments(comments) }
    }
}

impl Serialize for Comments {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(iter::repeat_n(COMMENT, self.0))
    }
}
