//! `/api/v1/backup`.

use std::io::Read;

use actix_web::HttpResponse;
use actix_web::http::header::CONTENT_DISPOSITION;
use actix_web::web::{Bytes, block};
use futures_util::stream::try_unfold;

use super::call::Call;
use super::problem::Answer;

/// Bytes that are read at a time.
const AT_ONCE: u64 = 256 * 1024;

/// `GET /api/v1/backup`: everything there is, but for the key it is sealed with.
pub(super) async fn get(call: Call) -> Answer {
    call.query()?.finish()?;
    let (archive, place) = call.guard.backup().await?;
    // The copy stands: a slow reader keeps nobody waiting but the next one who wants a backup.
    let body = try_unfold((archive, place), |(mut archive, place)| async move {
        let read = block(move || {
            let mut bytes = Vec::new();
            archive.by_ref().take(AT_ONCE).read_to_end(&mut bytes).map(|_| (bytes, archive))
        });
        let (bytes, archive) = read.await.map_err(std::io::Error::other)??;
        Ok::<_, std::io::Error>((!bytes.is_empty()).then(|| (Bytes::from(bytes), (archive, place))))
    });
    Ok(HttpResponse::Ok()
        .content_type("application/x-tar")
        .insert_header((CONTENT_DISPOSITION, "attachment; filename=\"skep-backup.tar\""))
        .streaming(body))
}
