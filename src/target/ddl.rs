//! placeholder until the ddl branch lands
use crate::table::*;
use crate::value::PgType;
#[derive(serde::Serialize)]
pub struct TargetColumn {
    pub source: usize,
    pub name: String,
    pub pg: PgType,
    pub computed: bool,
}
#[derive(serde::Serialize)]
pub struct NamedSql {
    pub name: String,
    pub belongs_to: String,
    pub sql: String,
}
#[derive(serde::Serialize)]
pub struct Note {
    pub object: String,
    pub what: String,
    pub reason: String,
}
#[derive(serde::Serialize)]
pub struct TableDdl {
    pub source: String,
    pub name: String,
    pub columns: Vec<TargetColumn>,
    pub create: String,
    pub key: String,
    pub indexes: Vec<NamedSql>,
    pub checks: Vec<NamedSql>,
}
#[derive(serde::Serialize)]
pub struct Ddl {
    pub tables: Vec<TableDdl>,
    pub foreign_keys: Vec<NamedSql>,
    pub views: Vec<NamedSql>,
    pub notes: Vec<Note>,
}
pub fn plan(
    schema: &str,
    tables: &[Table],
    _views: &[View],
    pg: &dyn Fn(&Table, usize) -> PgType,
) -> Ddl {
    let schema = Ident::new(schema);
    let mut out = Vec::new();
    for t in tables {
        let mut cols = Vec::new();
        let mut columns = Vec::new();
        if t.key == Key::HiddenRowid {
            cols.push(format!("\"{HIDDEN_ROWID}\" bigint not null"));
        }
        for (i, c) in t.columns.iter().enumerate() {
            let ty = pg(t, i);
            cols.push(format!(
                "{} {}{}",
                Ident::new(&c.name),
                ty.sql(),
                if ty == PgType::Text { " collate \"C\"" } else { "" }
            ));
            columns.push(TargetColumn { source: i, name: c.name.clone(), pg: ty, computed: false });
        }
        let key: Vec<String> = match &t.key {
            Key::HiddenRowid => vec![format!("\"{HIDDEN_ROWID}\"")],
            _ => t
                .key_columns()
                .iter()
                .map(|i| Ident::new(&t.columns[*i].name).to_string())
                .collect(),
        };
        let mut indexes = Vec::new();
        for ix in t.indexes.iter().filter(|ix| ix.unique && ix.predicate.is_none()) {
            let cs: Option<Vec<String>> = ix
                .columns
                .iter()
                .map(|c| match &c.term {
                    IndexTerm::Column(i) => Some(if c.collation == "NOCASE" {
                        format!("lower({})", Ident::new(&t.columns[*i].name))
                    } else {
                        Ident::new(&t.columns[*i].name).to_string()
                    }),
                    _ => None,
                })
                .collect();
            if let Some(cs) = cs {
                indexes.push(NamedSql {
                    name: ix.name.clone(),
                    belongs_to: t.name.clone(),
                    sql: format!(
                        "create unique index if not exists {} on {schema}.{} ({})",
                        Ident::new(&ix.name),
                        t.ident(),
                        cs.join(", ")
                    ),
                });
            }
        }
        out.push(TableDdl {
            source: t.name.clone(),
            name: t.name.clone(),
            columns,
            create: format!("create table {schema}.{} ({})", t.ident(), cols.join(", ")),
            key: format!("alter table {schema}.{} add primary key ({})", t.ident(), key.join(", ")),
            indexes,
            checks: vec![],
        });
    }
    Ddl { tables: out, foreign_keys: vec![], views: vec![], notes: vec![] }
}

impl Ddl {
    pub fn render(&self) -> String {
        self.tables.iter().map(|t| format!("{};\n{};\n", t.create, t.key)).collect()
    }
}
