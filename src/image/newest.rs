//! Finding an image in the local engine by its label.

use std::collections::HashMap;

use bollard::Docker;
use bollard::query_parameters::ListImagesOptions;

use super::error::ImageError;

/// ID of the newest local image that carries `label` (`name=value`); `None` where there is none.
pub async fn newest_with(docker: &Docker, label: &str) -> Result<Option<String>, ImageError> {
    let options = ListImagesOptions {
        filters: Some(HashMap::from([("label".to_owned(), vec![label.to_owned()])])),
        ..ListImagesOptions::default()
    };
    let images = docker
        .list_images(Some(options))
        .await
        .map_err(|error| ImageError::Docker {
            action: "list",
            subject: "images".to_owned(),
            source: Box::new(error),
        })?;
    Ok(images
        .into_iter()
        .max_by_key(|image| image.created)
        .map(|image| image.id))
}
