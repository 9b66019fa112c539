//! Files over HTTP: in by a form, out by a signed link.
//!
//! Invariant: a file goes through in pieces, whatever its size; what is too large or not taken is refused as soon as
//! that shows; an upload that does not end well leaves nothing that anybody could name.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    Extension, Json,
    body::{Body, BodyDataStream},
    extract::{Path, Query, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use bus_schema::{
    AttachmentId, Author, ConversationId, ErrorBody, ErrorCode, event::File, file::FileKey,
    protocol::Uploaded,
};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use ops::{chat, files::Writing};
use tokio::time::timeout;

use super::{Problem, conversations::conversation_id};
use crate::{
    app::App,
    clock,
    files::{Form, HEAD_BYTES, Step, boundary, clean, disposition, sniff},
    limits::or_unbounded,
    session::Who,
};

/// What a form may have around its file.
const AROUND_BYTES_MAX: u64 = 16 * 1024;
/// The only field of the form.
const FIELD: &str = "file";
/// How long an upload may stall, and how long it may take.
const STALL_MAX: Duration = Duration::from_secs(30);
const UPLOAD_WITHIN: Duration = Duration::from_secs(10 * 60);
/// A browser may keep what it fetched as long as the link counts.
const CACHE: HeaderValue = HeaderValue::from_static("private, max-age=600");
const SANDBOX: HeaderValue = HeaderValue::from_static("sandbox; default-src 'none'");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");

/// `POST /v1/conversations/{id}/attachments`.
pub async fn upload(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Extension(who): Extension<Who>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Uploaded>), Problem> {
    let conversation = conversation_id(&id)?;
    may_upload(&app, who, conversation).await?;
    let most = or_unbounded(app.core.limits.file_bytes) as u64;
    let announced = announced(&headers);
    if announced.is_some_and(|bytes| bytes > most.saturating_add(AROUND_BYTES_MAX)) {
        return Err(too_large(most).into());
    }
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let Some(boundary) = kind.and_then(boundary) else {
        let error =
            ErrorBody::new(ErrorCode::UnsupportedMediaType, "send multipart/form-data with a boundary");
        return Err(error.into());
    };
    let _pass = app.admission.upload(who.person(), announced.unwrap_or(most))?;
    let attachment = AttachmentId::from_uuid(uuid::Uuid::now_v7());
    let key = FileKey { tenant: who.tenant(), attachment };
    let author = who.author();
    let writing = app.core.files.begin(key, conversation, author, clock::now()).await?;
    let unfinished = Unfinished { app: app.clone(), key, conversation, author, over: false };
    let form = Incoming { body: body.into_data_stream(), form: Form::new(boundary), most };
    let received = timeout(UPLOAD_WITHIN, form.receive(attachment, writing)).await;
    let file = received.map_err(|_| stalled())??;
    app.core.measures.file_bytes_in.increment(file.size);
    let expires_at = app.core.files.ready(key, conversation, author, file.clone(), clock::now()).await?;
    unfinished.done();
    Ok((StatusCode::CREATED, Json(Uploaded { file, expires_at })))
}

/// Visitors upload for their own conversation, also before it begins; staff for those they see.
async fn may_upload(app: &App, who: Who, conversation: ConversationId) -> Result<(), ErrorBody> {
    let home = who.home(app, conversation)?;
    if matches!(who, Who::Visitor { .. }) {
        return Ok(());
    }
    let log = app.core.log(home.shard).ok_or(ErrorCode::Unavailable)?;
    let life = chat::life(log, home).await?.ok_or(ErrorCode::NotFound)?;
    who.sender().may_see(&app.core.directory.now(), &life.state)
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn too_large(most: u64) -> ErrorBody {
    ErrorBody::new(ErrorCode::TooLarge, format!("a file has at most {most} bytes"))
}

fn stalled() -> Problem {
    let error = ErrorBody::new(ErrorCode::Timeout, "the upload took too long");
    Problem::with_status(error, StatusCode::REQUEST_TIMEOUT)
}

/// What was begun is taken away again, unless it was done.
struct Unfinished {
    app: Arc<App>,
    key: FileKey,
    conversation: ConversationId,
    author: Author,
    over: bool,
}

impl Unfinished {
    fn done(mut self) {
        self.over = true;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let Self { app, key, conversation, author, .. } = self;
        let (files, key, conversation, author) = (app.core.files.clone(), *key, *conversation, *author);
        app.tasks.spawn(async move {
            if let Err(error) = files.abandon(key, conversation, author, clock::now()).await {
                tracing::debug!(%error, "what is left of an upload is removed later");
            }
        });
    }
}

/// A form on its way in.
struct Incoming {
    body: BodyDataStream,
    form: Form,
    /// Bytes a file may have.
    most: u64,
}

impl Incoming {
    /// Reads the form's one file into the store.
    async fn receive(
        mut self,
        attachment_id: AttachmentId,
        mut writing: Box<dyn Writing>,
    ) -> Result<File, Problem> {
        let name = match self.step().await? {
            Step::Part { name, file_name } if name == FIELD => clean(&file_name.unwrap_or_default()),
            _ => return Err(malformed(format!("expected one field {FIELD:?} with the file"))),
        };
        let (mut head, mut complete) = (BytesMut::new(), false);
        while head.len() < HEAD_BYTES && !complete {
            match self.content().await? {
                Some(bytes) => head.extend_from_slice(&bytes),
                None => complete = true,
            }
            self.within(head.len() as u64)?;
        }
        let found = sniff(&name, &head)?;
        let mut size = head.len() as u64;
        if size == 0 {
            return Err(ErrorBody::field(format!("/{FIELD}"), "the file is empty").into());
        }
        writing.write(head.freeze()).await.map_err(ErrorBody::from)?;
        while !complete {
            match self.content().await? {
                Some(bytes) => {
                    size += bytes.len() as u64;
                    self.within(size)?;
                    writing.write(bytes).await.map_err(ErrorBody::from)?;
                }
                None => complete = true,
            }
        }
        if self.step().await? != Step::End {
            return Err(malformed("one file at a time"));
        }
        writing.finish().await.map_err(ErrorBody::from)?;
        let (width, height) = found.size.unzip();
        let content_type = found.content_type.to_owned();
        Ok(File { attachment_id, name, content_type, size, width, height })
    }

    fn within(&self, size: u64) -> Result<(), ErrorBody> {
        if size > self.most { Err(too_large(self.most)) } else { Ok(()) }
    }

    /// More of the file; none: that was all.
    async fn content(&mut self) -> Result<Option<Bytes>, Problem> {
        match self.step().await? {
            Step::Bytes(bytes) => Ok(Some(bytes)),
            _ => Ok(None),
        }
    }

    async fn step(&mut self) -> Result<Step, Problem> {
        loop {
            match self.form.step().map_err(|error| malformed(error.to_string()))? {
                Step::More => match timeout(STALL_MAX, self.body.next()).await {
                    Ok(Some(Ok(bytes))) => self.form.feed(&bytes),
                    Ok(Some(Err(_)) | None) => return Err(malformed("the form is cut off")),
                    Err(_) => return Err(stalled()),
                },
                step => return Ok(step),
            }
        }
    }
}

fn malformed(message: impl Into<String>) -> Problem {
    Problem::malformed(ErrorBody::field("", message))
}

/// `GET /v1/attachments/{id}`, with what `get_attachment` put into the link.
pub async fn download(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Result<Response, Problem> {
    let key = app.core.links.open(&id, &query, clock::now())?;
    let file = app.core.files.record(key).await?.ok_or(ErrorCode::NotFound)?.file;
    let mut bytes = app.core.files.read(key, file.size);
    // Whether it is there at all shows before the answer begins.
    let first = bytes.try_next().await.map_err(ErrorBody::from)?;
    let sent = app.core.measures.file_bytes_out.clone();
    let all = stream::iter(first.map(Ok)).chain(bytes).inspect_ok(move |piece| {
        sent.increment(piece.len() as u64);
    });
    let mut response = Body::from_stream(all).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, served(&file.content_type));
    headers.insert(header::CONTENT_LENGTH, file.size.into());
    if let Ok(disposition) = HeaderValue::from_str(&disposition(&file.name)) {
        headers.insert(header::CONTENT_DISPOSITION, disposition);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    headers.insert(header::CONTENT_SECURITY_POLICY, SANDBOX);
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CACHE_CONTROL, CACHE);
    Ok(response)
}

fn served(content_type: &str) -> HeaderValue {
    match content_type {
        "text/plain" => HeaderValue::from_static("text/plain; charset=utf-8"),
        other => HeaderValue::from_str(other)
            .unwrap_or_else(|_| HeaderValue::from_static("application/octet-stream")),
    }
}
