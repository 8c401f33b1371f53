//! Serves secrets of steps and credentials of registries.

use std::sync::Arc;

use bollard_buildkit_proto::moby::buildkit::secrets::v1::secrets_server::Secrets;
use bollard_buildkit_proto::moby::buildkit::secrets::v1::{GetSecretRequest, GetSecretResponse};
use bollard_buildkit_proto::moby::filesync::v1::auth_server::Auth;
use bollard_buildkit_proto::moby::filesync::v1::{
    CredentialsRequest, CredentialsResponse, FetchTokenRequest, FetchTokenResponse,
    GetTokenAuthorityRequest, GetTokenAuthorityResponse, VerifyTokenAuthorityRequest,
    VerifyTokenAuthorityResponse,
};
use tonic::{Request, Response, Status, async_trait};

use super::{Credentials, Secret};

pub(super) struct Vault {
    pub(super) secrets: Vec<Secret>,
    pub(super) credentials: Arc<dyn Credentials>,
}

#[async_trait]
impl Secrets for Vault {
    async fn get_secret(
        &self,
        request: Request<GetSecretRequest>,
    ) -> Result<Response<GetSecretResponse>, Status> {
        let id = &request.get_ref().id;
        match self.secrets.iter().find(|secret| secret.id == *id) {
            Some(secret) => Ok(Response::new(GetSecretResponse {
                data: secret.bytes.clone(),
            })),
            None => Err(Status::not_found(format!("there is no secret `{id}`"))),
        }
    }
}

#[async_trait]
impl Auth for Vault {
    async fn credentials(
        &self,
        request: Request<CredentialsRequest>,
    ) -> Result<Response<CredentialsResponse>, Status> {
        let host = request.into_inner().host;
        let credentials = Arc::clone(&self.credentials);
        let login = tokio::task::spawn_blocking(move || credentials.login(&host))
            .await
            .map_err(|error| Status::internal(error.to_string()))?;
        // An empty answer stands for anonymous access; an error would end the build.
        let (username, secret) = login.map_or_else(Default::default, |it| (it.user, it.secret));
        Ok(Response::new(CredentialsResponse { username, secret }))
    }

    // Without these the daemon exchanges credentials for tokens itself.

    async fn fetch_token(
        &self,
        _: Request<FetchTokenRequest>,
    ) -> Result<Response<FetchTokenResponse>, Status> {
        Err(Status::unimplemented("the daemon fetches tokens"))
    }

    async fn get_token_authority(
        &self,
        _: Request<GetTokenAuthorityRequest>,
    ) -> Result<Response<GetTokenAuthorityResponse>, Status> {
        Err(Status::unavailable("the daemon fetches tokens"))
    }

    async fn verify_token_authority(
        &self,
        _: Request<VerifyTokenAuthorityRequest>,
    ) -> Result<Response<VerifyTokenAuthorityResponse>, Status> {
        Err(Status::unavailable("the daemon fetches tokens"))
    }
}
