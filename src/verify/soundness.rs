//! Whether each side is sound in itself: is the file whole, has every row its parent?
//!
//! Rows can be equal on both sides and wrong on both: a damaged page that has not been read, an
//! index that does not find its rows, children without parents that no foreign key will ever take.
//! To look costs more than to compare, so it is done once within [`Scope::reread`] and whenever
//! everything is read. The file is checked on a temporary copy, and both sides are asked for
//! orphans in slices or without locks: nothing is held up.
//!
//! Orphans fail no verdict. They were there before, and both sides have them; cutover is what they
//! stand in the way of.
//!
//! [`Scope::reread`]: super::Scope::reread

use std::path::Path;

use super::verdict::ScopeWord;
use super::{Error, Sides};
use crate::assess::scan::orphan_expression;
use crate::source::copy::Cursor;
use crate::source::inspect::{Integrity, IntegrityCheck, Stretch};
use crate::source::thread::SourceThread;
use crate::source::{Source, Survey};
use crate::target::checks::{self, Check, CheckState, INTEGRITY};
use crate::target::verifications;

/// Looks at both sides, if it is time to. Writes nothing.
pub(super) async fn check(sides: &Sides, path: &Path) -> Result<Vec<Check>, Error> {
    let scope = &sides.scope;
    let is_wanted = scope.table.is_none()
        && match scope.word() {
            ScopeWord::Full => true,
            ScopeWord::Since => false,
            ScopeWord::Changes => {
                !verifications::was_checked(&sides.client, INTEGRITY, scope.reread).await?
            }
        };
    if !is_wanted {
        return Ok(Vec::new());
    }
    // A connection of its own: rows are compared meanwhile.
    let source = SourceThread::open(path.to_path_buf()).await?;
    let survey = sides.survey.clone();
    let of_source = source.run(move |source| {
        let integrity = source.check_integrity(IntegrityCheck::OnCopy, false)?;
        let mut checks = vec![integrity_check(integrity)];
        checks.extend(orphans(source, &survey)?);
        Ok::<_, crate::source::Error>(checks)
    });
    let of_target = checks::orphans(&sides.client, &sides.schema, &sides.plan.mappings);
    let (of_source, of_target) = tokio::join!(of_source, of_target);
    let mut checks = of_source?;
    checks.extend(of_target?);
    Ok(checks)
}

fn integrity_check(integrity: Integrity) -> Check {
    let (state, message) = match integrity {
        Integrity::Sound => (CheckState::Ok, None),
        Integrity::Damaged(lines) => (CheckState::Failed, Some(lines.join("; "))),
        Integrity::LeftOut(reason) => {
            (CheckState::Noticed, Some(format!("it could not be checked: {reason}")))
        }
    };
    Check { name: INTEGRITY.to_owned(), state, message }
}

/// Rows of the source without their parents, by foreign key.
fn orphans(source: &mut Source, survey: &Survey) -> Result<Vec<Check>, crate::source::Error> {
    let mut found = Vec::new();
    for table in &survey.catalog.tables {
        for key in &table.foreign_keys {
            let Some(expression) = orphan_expression(&survey.catalog, table, key) else { continue };
            let expressions = [expression];
            let stretch = Stretch { table, expressions: &expressions, until: None };
            let (mut after, mut count) = (Cursor::Start, 0_u64);
            loop {
                let slice =
                    source.slice(&stretch, survey.schema_version, &after, u64::MAX, |row| {
                        count += u64::from(row.get::<_, Option<bool>>(0)? == Some(true));
                        Ok(())
                    })?;
                if slice.is_last {
                    break;
                }
                after = slice.cursor;
            }
            let name = format!("{} ({})", table.name, key.column_names(table));
            found.extend(checks::orphan_check(&name, "SQLite", &key.parent, count));
        }
    }
    Ok(found)
}
