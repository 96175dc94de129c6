create table alembic_version (version_num varchar(32) not null, constraint alembic_version_pkc primary key (version_num));
create table job (id varchar(36) not null, payload json, state varchar(9) not null, created_at datetime default (CURRENT_TIMESTAMP) not null, cost numeric(10, 2), retries integer default '0', constraint pk_job primary key (id), constraint ck_state check (state in ('new', 'done')));
create index ix_job_state on job (state);
create table run (job_id varchar(36) not null, number integer not null, log text, primary key (job_id, number), constraint fk_run_job foreign key (job_id) references job (id) on delete cascade);
insert into alembic_version values ('aa11');
insert into job (id, payload, state, cost) values ('5f0c6d1e-0000-4000-8000-000000000001', '{"k": 1}', 'new', 1.10), ('5f0c6d1e-0000-4000-8000-000000000002', null, 'done', 2);
insert into run values ('5f0c6d1e-0000-4000-8000-000000000001', 1, 'x'), ('5f0c6d1e-0000-4000-8000-000000000001', 2, null);
