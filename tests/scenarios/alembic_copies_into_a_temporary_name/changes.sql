create table _alembic_tmp_job (id varchar(36) not null, payload json, state varchar(12) not null, created_at datetime default (CURRENT_TIMESTAMP) not null, cost numeric(10, 2), priority integer default '5' not null, constraint pk_job primary key (id), constraint ck_state check (state in ('new', 'done', 'failed')));
insert into _alembic_tmp_job (id, payload, state, created_at, cost) select id, payload, state, created_at, cost from job;
drop table job;
alter table _alembic_tmp_job rename to job;
create index ix_job_state on job (state);
create unique index ix_job_priority on job (priority, id);
update alembic_version set version_num = 'bb22';
insert into job (id, state) values ('5f0c6d1e-0000-4000-8000-000000000003', 'failed');
-- then
insert into job (id, state, cost) values ('5f0c6d1e-0000-4000-8000-000000000004', 'failed', '12345678.25') on conflict (id) do update set state = 'done';
update run set log = 'y' where number = 2;
replace into run values ('5f0c6d1e-0000-4000-8000-000000000001', 1, 'z');
-- then: downgrade
create table _alembic_tmp_job (id varchar(36) not null, payload json, state varchar(12) not null, constraint pk_job primary key (id));
insert into _alembic_tmp_job select id, payload, state from job;
drop table job;
alter table _alembic_tmp_job rename to job;
drop table run;
update alembic_version set version_num = 'aa11';
