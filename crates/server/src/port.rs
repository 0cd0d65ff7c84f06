//! Two gateways behind one port, and the door to cuts: the path decides whose a request is.

use std::convert::Infallible;
use std::future::ready;
use std::pin::Pin;
use std::task::{Context, Poll};

use althing_gateway_http as objects;
use http::{Request, Response};
use http_body_util::Either;
use tower_service::Service;

use crate::cut::{self, CutDoor};

/// The gateway of objects for its own paths, and another one for all the rest.
#[derive(Clone)]
pub struct Port<G> {
    objects: objects::Gateway,
    cut: CutDoor,
    rest: G,
}

impl<G> Port<G> {
    /// Puts them behind one port.
    pub const fn new(objects: objects::Gateway, cut: CutDoor, rest: G) -> Self {
        Self { objects, cut, rest }
    }
}

impl<G, B, R> Service<Request<B>> for Port<G>
where
    objects::Gateway:
        Service<Request<B>, Response = Response<objects::ObjectBody>, Error = Infallible, Future = objects::Answering>,
    G: Service<Request<B>, Response = Response<R>, Error = Infallible>,
    G::Future: Unpin,
{
    type Response = Response<Either<objects::ObjectBody, R>>;
    type Error = Infallible;
    type Future = Answering<G::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // The gateway of objects is always ready.
        self.rest.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if request.uri().path() == cut::PATH {
            let response = self.cut.answer(request.method(), request.uri());
            return Answering::Objects(Box::pin(ready(Ok(response))));
        }
        match objects::Gateway::serves(request.uri().path()) {
            true => Answering::Objects(self.objects.call(request)),
            false => Answering::Rest(self.rest.call(request)),
        }
    }
}

/// An answer to come from one of the two.
pub enum Answering<F> {
    /// From the gateway of objects.
    Objects(objects::Answering),
    /// From the other one.
    Rest(F),
}

impl<F, R> Future for Answering<F>
where
    F: Future<Output = Result<Response<R>, Infallible>> + Unpin,
{
    type Output = Result<Response<Either<objects::ObjectBody, R>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Objects(answering) => {
                answering.as_mut().poll(cx).map(|answer| answer.map(|response| response.map(Either::Left)))
            }
            Self::Rest(answering) => {
                Pin::new(answering).poll(cx).map(|answer| answer.map(|response| response.map(Either::Right)))
            }
        }
    }
}
