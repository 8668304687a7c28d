//! Everything that can be called, one line a method.

use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::routing::{MethodRouter, post};
use futures::future::BoxFuture;
use http::HeaderValue;
use prost::Message;
use raft::state::Role::{self, Operate, Read};
use raft::state::TemplateKind::{Generic, Ignition};
use tonic::server::{Grpc, UnaryService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use super::proto::{Empty, Labels, Named, NamedConfig, OneGroup, OneProfile};
use super::write::Caller;
use super::{Context, MESSAGE_BYTES_MAX};

/// How much longer than allowed a message may be and still be refused with a reason.
const REASON_BYTES: usize = 64 * 1024;

/// `OUT_OF_RANGE`, which nothing else here is answered with.
const TOO_LONG: &str = "11";
const RESOURCE_EXHAUSTED: HeaderValue = HeaderValue::from_static("8");

/// The table: path, what the caller must at least be, what answers.
fn table(context: &Arc<Context>) -> Vec<(&'static str, MethodRouter)> {
    let on = context;
    vec![
        (
            "/rpcpb.Groups/GroupPut",
            method(on, Operate, |on, who, ask: OneGroup| async move { on.put_group(&who, ask).await }),
        ),
        ("/rpcpb.Groups/GroupGet", method(on, Read, |on, _, ask: Named| async move { on.group(&ask.name).await })),
        (
            "/rpcpb.Groups/GroupDelete",
            method(on, Operate, |on, who, ask: Named| async move { on.delete_group(&who, ask).await }),
        ),
        ("/rpcpb.Groups/GroupList", method(on, Read, |on, _, _: Empty| async move { on.groups().await })),
        (
            "/rpcpb.Profiles/ProfilePut",
            method(on, Operate, |on, who, ask: OneProfile| async move { on.put_profile(&who, ask).await }),
        ),
        (
            "/rpcpb.Profiles/ProfileGet",
            method(on, Read, |on, _, ask: Named| async move { on.profile(&ask.name).await }),
        ),
        (
            "/rpcpb.Profiles/ProfileDelete",
            method(on, Operate, |on, who, ask: Named| async move { on.delete_profile(&who, ask).await }),
        ),
        ("/rpcpb.Profiles/ProfileList", method(on, Read, |on, _, _: Empty| async move { on.profiles().await })),
        (
            "/rpcpb.Ignition/IgnitionPut",
            method(on, Operate, |on, who, ask: NamedConfig| async move { on.put_config(&who, Ignition, ask).await }),
        ),
        (
            "/rpcpb.Ignition/IgnitionGet",
            method(on, Read, |on, _, ask: Named| async move { on.config(Ignition, &ask.name).await }),
        ),
        (
            "/rpcpb.Ignition/IgnitionDelete",
            method(on, Operate, |on, who, ask: Named| async move { on.delete_config(&who, Ignition, ask).await }),
        ),
        (
            "/rpcpb.Generic/GenericPut",
            method(on, Operate, |on, who, ask: NamedConfig| async move { on.put_config(&who, Generic, ask).await }),
        ),
        (
            "/rpcpb.Generic/GenericGet",
            method(on, Read, |on, _, ask: Named| async move { on.config(Generic, &ask.name).await }),
        ),
        (
            "/rpcpb.Generic/GenericDelete",
            method(on, Operate, |on, who, ask: Named| async move { on.delete_config(&who, Generic, ask).await }),
        ),
        (
            "/rpcpb.Select/SelectGroup",
            method(on, Read, |on, _, ask: Labels| async move { on.select_group(&ask).await }),
        ),
        (
            "/rpcpb.Select/SelectProfile",
            method(on, Read, |on, _, ask: Labels| async move { on.select_profile(&ask).await }),
        ),
    ]
}

/// All services, to be served by `https` behind `tls`.
pub fn router(context: Context) -> Router {
    let context = Arc::new(context);
    let mut router = Router::new();
    for (path, answers) in table(&context) {
        router = router.route(path, answers);
    }
    // As the protocol has it: an HTTP status of 200, and the failure in a header (gRPC over HTTP/2, "Responses").
    router.fallback(async || {
        let status = Status::unimplemented("there is no such method; the services are those of matchbox");
        status.into_http::<axum::body::Body>()
    })
}

fn method<Ask, Answer, Work>(
    context: &Arc<Context>,
    needed: Role,
    work: impl Fn(Arc<Context>, Caller, Ask) -> Work + Clone + Send + Sync + 'static,
) -> MethodRouter
where
    Ask: Message + Default + 'static,
    Answer: Message + Default + 'static,
    Work: Future<Output = Result<Answer, Status>> + Send + 'static,
{
    let context = context.clone();
    post(async move |request: axum::extract::Request| {
        let codec = ProstCodec::<Answer, Ask>::default();
        let most = Some(MESSAGE_BYTES_MAX + REASON_BYTES);
        let mut grpc = Grpc::new(codec).apply_max_message_size_config(most, None);
        let mut answer = grpc.unary(Unary { context, needed, work }, request).await;
        // What is too long for us to read: gRPC in Go calls it by another code, and the reference page by that.
        if answer.headers().get(Status::GRPC_STATUS).is_some_and(|status| status == TOO_LONG) {
            answer.headers_mut().insert(Status::GRPC_STATUS, RESOURCE_EXHAUSTED);
        }
        answer
    })
}

/// One method, as tonic calls it.
struct Unary<Work> {
    context: Arc<Context>,
    needed: Role,
    work: Work,
}

impl<Ask, Answer, Work, Answered> UnaryService<Ask> for Unary<Work>
where
    Work: Fn(Arc<Context>, Caller, Ask) -> Answered,
    Answered: Future<Output = Result<Answer, Status>> + Send + 'static,
{
    type Response = Answer;
    type Future = BoxFuture<'static, Result<Response<Answer>, Status>>;

    fn call(&mut self, request: Request<Ask>) -> Self::Future {
        let caller = match self.context.caller(&request, self.needed) {
            Ok(caller) => caller,
            Err(refused) => return Box::pin(async move { Err(refused) }),
        };
        let answered = (self.work)(self.context.clone(), caller, request.into_inner());
        Box::pin(async move { answered.await.map(Response::new) })
    }
}

#[cfg(test)]
mod tests {
    /// This file and the interface name the same methods; the table itself needs a cluster to be made.
    #[test]
    fn every_method_of_the_interface_is_in_the_table() {
        let (interface, table) = (include_str!("matchbox.proto"), include_str!("routes.rs"));
        let mut service = "";
        let mut methods = Vec::new();
        for line in interface.lines() {
            if let Some(name) = line.strip_prefix("service ") {
                service = name.trim_end_matches(" {");
            }
            if let Some((name, _)) = line.trim().strip_prefix("rpc ").and_then(|rest| rest.split_once('(')) {
                methods.push(format!("\"/rpcpb.{service}/{name}\""));
            }
        }
        assert_eq!(methods.len(), 16);
        for method in &methods {
            assert_eq!(table.matches(method.as_str()).count(), 1, "{method}");
        }
    }
}
