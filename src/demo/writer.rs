//! placeholder
#![allow(missing_docs)]
pub fn write(
    _args: &crate::cli::DemoWriterArgs,
) -> Result<crate::error::Exit, crate::error::Report> {
    unimplemented!()
}
