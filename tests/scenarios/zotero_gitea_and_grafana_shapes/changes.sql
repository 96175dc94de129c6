insert or ignore into itemDataValues (value) values ('Title'), ('New'), (2025);
update itemData set valueID = 4 where fieldID = 1;
update hibernate_sequences set next_val = next_val + 50;
update gorm_models set deleted_at = '2024-02-01 00:00:00', price = '10';
insert into gorm_models (name, active) values ('h', 0) on conflict (name) do nothing;
update customer set amount = amount * 2, type = 'B';
update `user` set max_repo_creation = 5, lower_name = 'anna';
insert into oc_filecache (fileid, path_hash) values (2, 'x'), (3, 'y');
-- then: xorm drops and makes anew
drop index `IDX_user_created_unix`;
alter table `user` add `visibility` INTEGER not null default 0;
create table `tmp_recreate__alert_rule` (`id` INTEGER primary key autoincrement not null, `org_id` INTEGER not null, `title` TEXT not null, `data` TEXT not null, `updated` DATETIME not null, `for` INTEGER not null default 0, `guid` TEXT not null default '', `labels` TEXT);
insert into `tmp_recreate__alert_rule` (id, org_id, title, data, updated, `for`, guid) select id, org_id, title, data, updated, `for`, guid from `alert_rule`;
drop table `alert_rule`;
alter table `tmp_recreate__alert_rule` rename to `alert_rule`;
create unique index `UQE_alert_rule_org_id_title` on `alert_rule` (`org_id`, `title`);
insert into alert_rule (org_id, title, data, updated) values (1, 'mem', '[]', '2024-01-01 00:00:00');
