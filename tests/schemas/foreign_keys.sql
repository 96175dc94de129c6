create table p (a int, b text, c text collate nocase unique, d text, e real, primary key (a, b), unique (d), unique (e));
create unique index p_partial on p (e) where e > 0;
create table c1 (x int, y text, foreign key (x, y) references p on delete set null on update cascade);
create table c2 (x int, y text, foreign key (y, x) references p (b, a) deferrable initially deferred);
create table c3 (x text references p (c)); create table c4 (x text references p (d) on delete set default);
create table c5 (x int references p (e)); create table c6 (x int references nowhere); create table c7 (x int references p);
create table tree (id integer primary key, up int references tree on delete cascade, root int references tree (id));
create table c8 (x text references P (D) match full on delete restrict on update no action);
