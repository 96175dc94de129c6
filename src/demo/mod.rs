//! placeholder
#![allow(missing_docs)]
pub mod writer;
pub async fn demo(_args: crate::cli::DemoArgs) -> Result<crate::error::Exit, crate::error::Report> {
    unimplemented!()
}
