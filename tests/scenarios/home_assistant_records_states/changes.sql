with recursive n (i) as (select 1 union all select i + 1 from n where i < 500) insert into states select 3000 + i, null, 'on', 1704070200.5 + i, 2999 + i, null, randomblob(16), 2 from n;
update states set old_state_id = null where old_state_id in (select state_id from states order by state_id limit 1000);
delete from states where state_id <= 1000;
insert into statistics_short_term values (2, null, 1.0, 1, 1704067200.0, 2.5, 1, 11.0) on conflict (metadata_id, start_ts) do update set mean = excluded.mean;
-- then: schema 44
drop index ix_states_old_state_id;
alter table states add column last_reported_ts FLOAT;
create index ix_states_last on states (last_updated_ts);
update states set last_reported_ts = last_updated_ts where state_id > 3400;
insert into schema_changes values (2, 44, '2024-02-01 00:00:00.000000');
-- then
vacuum;
analyze;
delete from events;
insert into event_types values (1, 'call_service');
insert into events (event_id, time_fired_ts, event_type_id) values (1, 5.25, 1);
