//! A body in chunks that is not read to its end ends its connection.
//!
//! After the answer actix-http reads on through a body in chunks that its handler has dropped, to use the connection again,
//! for any number of bytes and any time: a client whose body was refused, or stalled, could keep its connection for ever.
//! It closes a connection whose body is still held when the answer is complete, so it is held until then.

use std::{
    cell::RefCell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use actix_web::{
    HttpMessage,
    body::{BodySize, BoxBody, MessageBody},
    dev::{Payload, ServiceRequest},
    error::PayloadError,
    http::header,
};
use bytes::Bytes;
use futures_util::Stream;

/// The body of a request in chunks, shared with its handler.
pub(crate) struct UnreadBody {
    #[expect(dead_code, reason = "held for its drop")]
    body: Rc<RefCell<Payload>>,
}

impl UnreadBody {
    /// Takes hold of the body of a request, if it comes in chunks.
    pub(crate) fn of(request: &mut ServiceRequest) -> Option<Self> {
        if !request.headers().contains_key(header::TRANSFER_ENCODING) {
            return None;
        }
        let shared = Rc::new(RefCell::new(request.take_payload()));
        request.set_payload(Payload::Stream { payload: Box::pin(SharedBody(Rc::clone(&shared))) });
        Some(Self { body: shared })
    }

    /// The body of the answer, with that of the request held until it is complete.
    pub(crate) fn held_by(self, answer: BoxBody) -> BoxBody {
        AnswerThatHolds { answer, _held: self }.boxed()
    }
}

struct SharedBody(Rc<RefCell<Payload>>);

impl Stream for SharedBody {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_next(context)
    }
}

struct AnswerThatHolds {
    answer: BoxBody,
    _held: UnreadBody,
}

impl MessageBody for AnswerThatHolds {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.answer.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.answer).poll_next(context)
    }
}
